cwlVersion: v1.2
class: CommandLineTool
doc: For bob alone.
baseCommand: [echo, secret]
inputs: []
outputs: {text: stdout}
stdout: text.txt
