cwlVersion: v1.1
class: CommandLineTool
id: reverse
label: Reverse
baseCommand: rev
inputs: {text: stdin}
outputs: {out: stdout}
