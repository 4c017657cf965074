cwlVersion: v1.0
class: CommandLineTool
baseCommand: cat
inputs:
  text: {type: File, inputBinding: {position: 1}}
  index: {type: "File?", secondaryFiles: .bai}
outputs:
  out: stdout
