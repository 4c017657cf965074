cwlVersion: v1.2
class: ExpressionTool
id: upper
requirements: {InlineJavascriptRequirement: {}}
inputs: {text: string}
outputs: {upper: string}
expression: "$({upper: inputs.text.toUpperCase()})"
