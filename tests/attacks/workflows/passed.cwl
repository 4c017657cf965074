cwlVersion: v1.2
class: Workflow
doc: A user says where the input of a step lies.
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {path: string}
outputs: {text: {type: File, outputSource: show/text}}
steps:
  show:
    in:
      path: path
      file: {valueFrom: "${ return {class: 'File', location: 'file://' + inputs.path}; }"}
    out: [text]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {path: string, file: {type: File, inputBinding: {position: 1}}}
      outputs: {text: stdout}
      stdout: text.txt
