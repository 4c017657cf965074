cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs:
  id: string
  path: string
  location: string
  record: {type: {type: record, fields: {id: string, path: "string[]", location: string, listing: string}}}
outputs: {all: Any}
expression: "$({all: inputs})"
