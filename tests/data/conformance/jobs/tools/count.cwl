cwlVersion: v1.2
class: CommandLineTool
$namespaces: {edam: "http://edamontology.org/"}
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [grep, -c, ">"]
stdout: number.txt
inputs:
  reads: {type: File, format: edam:format_1929, inputBinding: {}}
  table: {type: "File?", format: [edam:format_3475, edam:format_3752]}
outputs:
  number: {type: File, format: edam:format_2330, outputBinding: {glob: number.txt}}
  formats: {type: "string[]", outputBinding: {outputEval: '$([inputs.reads.format, inputs.table ? inputs.table.format : "none"])'}}
