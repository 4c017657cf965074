cwlVersion: v1.2
class: CommandLineTool
doc: A user says which directory is an output.
baseCommand: "true"
inputs: {pattern: string}
outputs:
  folder: {type: Directory, outputBinding: {glob: $(inputs.pattern), loadListing: deep_listing}}
