cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
inputs:
  given: {type: "Directory?"}
  file: File?
  files: {type: ["null", {type: array, items: [File, "null"]}]}
baseCommand: [sh, -c, "printf a > a.txt; printf i > a.txt.idx; printf b > b.txt"]
outputs:
  both:
    type:
      type: record
      fields:
        first: {type: File, secondaryFiles: [.idx], outputBinding: {glob: a.txt}}
        rest: {type: "File[]", outputBinding: {glob: "b*"}}
        n: {type: int, outputBinding: {outputEval: $(1 + 1)}}
        none: {type: "File?", outputBinding: {glob: none}}
  file: {type: "File?", outputBinding: {outputEval: $(inputs.file)}}
