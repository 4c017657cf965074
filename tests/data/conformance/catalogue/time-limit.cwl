cwlVersion: v1.1
class: CommandLineTool
requirements: {ToolTimeLimit: {timelimit: 1}}
inputs: []
baseCommand: [sleep, "20"]
outputs: []
