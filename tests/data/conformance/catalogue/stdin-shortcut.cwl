cwlVersion: v1.1
class: CommandLineTool
baseCommand: [tr, a-z, A-Z]
inputs: {text: stdin}
outputs: {upper: stdout, complaints: stderr}
