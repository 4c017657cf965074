cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: []
outputs: {x: int}
expression: "${ return {x: nobody.knows}; }"
