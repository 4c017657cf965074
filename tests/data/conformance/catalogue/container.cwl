cwlVersion: v1.2
class: CommandLineTool
requirements: {DockerRequirement: {dockerPull: "example.invalid/none:1"}}
inputs: []
baseCommand: "true"
outputs: []
