cwlVersion: v1.2
class: ExpressionTool
doc: A user says where an output lies.
requirements: {InlineJavascriptRequirement: {}}
inputs: {path: string, kind: string}
outputs: {file: [File, Directory]}
expression: "${ return {file: {class: inputs.kind, location: 'file://' + inputs.path}}; }"
