cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {file: {type: File, loadContents: true}}
outputs: {length: int}
expression: "$({length: inputs.file.contents.length})"
