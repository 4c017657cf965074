cwlVersion: v1.2
class: CommandLineTool
requirements:
  InplaceUpdateRequirement: {inplaceUpdate: true}
  InitialWorkDirRequirement: {listing: [{entry: $(inputs.file), writable: true}]}
  ShellCommandRequirement: {}
inputs: {file: File}
arguments: [{shellQuote: false, valueFrom: "echo more >> $(inputs.file.basename)"}]
outputs: {same: {type: File, outputBinding: {glob: $(inputs.file.basename)}}}
