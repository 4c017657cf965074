cwlVersion: v1.2
class: ExpressionTool
requirements:
  - class: SchemaDefRequirement
    types:
      - $import: types.yml
  - class: InlineJavascriptRequirement
    expressionLib: [{$include: lib.js}, "var twice = function (s) { return join(s, s); };"]
inputs:
  colour: types.yml#Colour
  more: {type: ["null", {type: array, items: types.yml#Colour}], default: [blue]}
  sample: types.yml#Sample?
outputs: {text: string}
expression: "$({text: twice(inputs.colour) + inputs.more.join() + (inputs.sample ? inputs.sample.colour : '')})"
