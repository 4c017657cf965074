cwlVersion: v1.2
class: CommandLineTool
hints: {DockerRequirement: {dockerPull: "example.invalid/none:1"}}
inputs: []
baseCommand: "true"
outputs: []
