cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [sh, -c, 'cat "$@" > all; cd "$0"; find . -type f | sort > "$HOME/members"']
arguments: [{valueFrom: $(inputs.folder.path), position: 0}]
inputs:
  samples:
    type:
      type: array
      items:
        type: record
        name: sample
        fields:
          name: string
          reads: {type: File, secondaryFiles: [.idx], inputBinding: {position: 1}}
  notes: {type: "File[]", inputBinding: {position: 2}}
  folder: Directory
  nothing: File?
  flag: {type: boolean, default: true}
outputs:
  all: {type: File, outputBinding: {glob: all}}
  members: {type: File, outputBinding: {glob: members}}
  told:
    type: string[]
    outputBinding:
      outputEval: >-
        $(inputs.samples.map(function (each) { return each.name + " " + each.reads.secondaryFiles[0].basename; })
        .concat([inputs.folder.basename, String(inputs.nothing), String(inputs.flag)]))
