cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {file: File}
baseCommand: []
arguments: [cp, --, $(inputs.file.path), "copy of $(inputs.file.basename)"]
outputs:
  copy: {type: File, outputBinding: {glob: "copy of *"}}
  parts: {type: "string[]", outputBinding: {outputEval: "$([inputs.file.basename, inputs.file.nameroot, inputs.file.nameext])"}}
