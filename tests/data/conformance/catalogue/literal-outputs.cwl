cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: []
outputs: {file: File, dir: Directory, named: Any}
expression: >
  ${ return {file: {class: "File", basename: "made #1.txt", contents: "größe"},
             dir: {class: "Directory", basename: "made", listing: [{class: "File", basename: "in?side", contents: "i"}]},
             named: {"a/b": {class: "File", basename: "x%41", contents: "slash"}, "": 1, "c d": [{class: "File", basename: "y", contents: "blank"}]}}; }
