cwlVersion: v1.0
class: CommandLineTool
inputs:
  all: {type: "File[]", secondaryFiles: [.idx]}
  one: {type: ["null", File, {type: array, items: File}], secondaryFiles: [^.i, ^^.j]}
baseCommand: cat
arguments: ["$(inputs.all[0].secondaryFiles[0].path)", "$(inputs.one.secondaryFiles[1].path)"]
stdout: both
outputs: {both: stdout}
