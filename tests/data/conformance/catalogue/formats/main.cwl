cwlVersion: v1.2
class: Workflow
$namespaces: {ex: http://example.org/, s: http://schema.org/}
$schemas: [formats.ttl, https://example.invalid/nowhere.owl]
s:author: {class: s:Person, s:name: Somebody}
inputs:
  text: {type: File, format: ex:text}
  any: {type: "File?", format: [ex:text, ex:binary]}
outputs:
  result: {type: File, format: ex:text, outputSource: second/out}
steps:
  first: {run: narrow.cwl, in: {file: text}, out: [out]}
  second: {run: wide.cwl, in: {file: first/out}, out: [out]}
