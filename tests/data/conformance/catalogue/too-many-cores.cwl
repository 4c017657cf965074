cwlVersion: v1.2
class: CommandLineTool
requirements: {ResourceRequirement: {coresMin: 999}}
inputs: []
baseCommand: "true"
outputs: []
