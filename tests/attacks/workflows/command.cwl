cwlVersion: v1.2
class: CommandLineTool
doc: A shell gets a user's text.
requirements: {ShellCommandRequirement: {}}
inputs:
  command: string
  script: {type: File?, inputBinding: {position: 1}}
arguments:
  - {valueFrom: $(inputs.command), shellQuote: false, position: 0}
outputs:
  text: stdout
stdout: text.txt
