cwlVersion: v1.2
class: CommandLineTool
doc: Runs a script. Whatever it leaves in `out/` is the output directory, `*.txt` are the files.
requirements:
  InlineJavascriptRequirement: {}
baseCommand: [sh, -c]
inputs:
  script: {type: string, inputBinding: {position: 1}}
outputs:
  files:
    type: File[]
    outputBinding: {glob: "*.txt", outputEval: "$(self.sort(function (a, b) { return a.basename < b.basename ? -1 : 1; }))"}
  folder:
    type: Directory?
    outputBinding: {glob: out}
  answer:
    type: int
    outputBinding: {outputEval: "$(6 * 7)"}
