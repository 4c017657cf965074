cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  ShellCommandRequirement: {}
  InitialWorkDirRequirement:
    listing:
      - {entryname: script.sh, entry: {$include: workdir.txt}}
      - {entryname: config.json, entry: "$({n: inputs.n})"}
      - {entryname: sub/renamed.txt, entry: $(inputs.file)}
      - {entryname: mine.txt, entry: $(inputs.other), writable: true}
      - $(inputs.files)
      - '${ return [{"class": "File", basename: "made.txt", contents: "made"}, {"class": "Directory", basename: "empty", listing: []}]; }'
      - {class: File, basename: literal.txt, contents: "literal\n"}
inputs: {n: int, file: File, other: File, files: "File[]"}
baseCommand: [sh, script.sh]
stdout: said
outputs:
  said: stdout
  mine: {type: File, outputBinding: {glob: mine.txt}}
  empty: {type: Directory, outputBinding: {glob: empty}}
