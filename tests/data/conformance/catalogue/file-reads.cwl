cwlVersion: v1.1
class: CommandLineTool
inputs: {file: {type: File, inputBinding: {loadContents: true}}}
baseCommand: cat
stdout: read
outputs:
  read: stdout
  parts: {type: "string[]", outputBinding: {outputEval: "$([inputs.file.basename, inputs.file.nameroot, inputs.file.nameext])"}}
requirements: {InlineJavascriptRequirement: {}}
