cwlVersion: v1.1
class: CommandLineTool
baseCommand: [wc, -c]
inputs: {file: stdin}
outputs: {out: stdout}
stdout: count
