cwlVersion: v1.2
class: CommandLineTool
$namespaces: {ex: http://example.org/}
$schemas: [formats.ttl]
inputs: {file: {type: File, format: ex:text, inputBinding: {}}}
baseCommand: cat
stdout: wide.txt
outputs: {out: {type: stdout, format: "$(inputs.file.format)"}}
