cwlVersion: v1.2
class: CommandLineTool
$namespaces: {ex: http://example.org/}
requirements: [{class: ex:Impossible}]
inputs: []
baseCommand: "true"
outputs: []
