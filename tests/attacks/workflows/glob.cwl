cwlVersion: v1.2
class: CommandLineTool
doc: A user says which files are outputs.
baseCommand: [sh, -c, "echo harmless > harmless.txt; mkdir folder; echo inner > folder/inner.txt"]
inputs: {pattern: string}
outputs:
  files: {type: "File[]", outputBinding: {glob: $(inputs.pattern)}}
