cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {names: "string[]"}
baseCommand: touch
arguments: [--, $(inputs.names)]
outputs:
  listed: {type: "File[]", outputBinding: {glob: ["b*", "a*"]}}
  expressed: {type: "File[]", outputBinding: {glob: $(inputs.names)}}
  counted: {type: int, outputBinding: {glob: "*", outputEval: $(self.length)}}
  first: {type: File?, outputBinding: {glob: "missing*"}}
  formatted: {type: "File[]", outputBinding: {glob: "a*"}, format: "http://example.org/f"}
