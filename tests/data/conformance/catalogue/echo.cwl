cwlVersion: v1.0
class: CommandLineTool
baseCommand: [printf, "%s"]
stdout: said.txt
inputs: {text: {type: string, inputBinding: {position: 1}}}
outputs: {said: stdout}
