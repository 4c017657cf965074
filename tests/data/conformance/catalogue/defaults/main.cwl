cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs:
  file: {type: File, secondaryFiles: [.idx, $(self.nameroot).sum], default: {class: File, location: data/own.txt}}
  files: {type: "File[]", secondaryFiles: [.idx], default: [{class: File, location: data/own.txt}, {class: File, path: "data/odd%20name.txt"}]}
  folder: {type: Directory, default: {class: Directory, location: data/deep}}
  literal: {type: File, default: {class: File, basename: "lit eral", contents: "größe"}}
  made: {type: Directory, default: {class: Directory, basename: made, listing: [{class: File, basename: a, contents: A}, {class: File, location: data/own.txt}]}}
  record:
    type: {type: record, fields: {f: {type: File, secondaryFiles: [.idx]}}}
    default: {f: {class: File, location: data/own.txt}}
outputs:
  listing: {type: File, outputSource: show/listing}
  literal: {type: File, outputSource: literal}
  made: {type: Directory, outputSource: made}
steps:
  show:
    run: show.cwl
    in: {file: file, files: files, folder: folder, record: record, stepdefault: {default: {class: File, location: data/own.txt}}}
    out: [listing]
