cwlVersion: v1.0
class: CommandLineTool
baseCommand: {$import: command.yml}
inputs: [{id: text, type: string, inputBinding: {}}]
outputs: [{id: out, type: stdout}]
