cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
inputs:
  file: {type: File, secondaryFiles: [.idx, $(self.nameroot).sum], inputBinding: {}}
  files: {type: "File[]", secondaryFiles: [.idx], inputBinding: {}}
  folder: Directory
  record: {type: {type: record, fields: {f: {type: File, secondaryFiles: [.idx]}}}}
  stepdefault: File
  own: {type: File, default: {class: File, location: data/tool.txt}}
baseCommand: cat
arguments:
  - {position: 1, valueFrom: "$(inputs.file.secondaryFiles.map(function (f) { return f.path; }))"}
  - {position: 1, valueFrom: "$(inputs.files[1].secondaryFiles[0].path)"}
  - {position: 1, valueFrom: "$(inputs.folder.path)/leaf"}
  - {position: 1, valueFrom: "$(inputs.record.f.secondaryFiles[0].path)"}
  - {position: 1, valueFrom: "$(inputs.stepdefault.path)"}
  - {position: 1, valueFrom: "$(inputs.own.path)"}
stdout: listing
outputs: {listing: stdout}
