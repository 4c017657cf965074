cwlVersion: v1.2
class: CommandLineTool
doc: A user says where a file is put before the tool runs.
baseCommand: "true"
requirements:
  InitialWorkDirRequirement: {listing: [{entryname: $(inputs.name), entry: overwritten}]}
inputs: {name: string}
outputs: {}
