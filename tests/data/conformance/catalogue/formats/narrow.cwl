cwlVersion: v1.2
class: CommandLineTool
$namespaces: {ex: http://example.org/}
inputs: {file: {type: File, format: ex:text, inputBinding: {}}}
baseCommand: cat
stdout: narrow.txt
outputs: {out: {type: stdout, format: ex:table}}
