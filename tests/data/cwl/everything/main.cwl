#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: Workflow
label: Everything
doc:
  - Takes a value of every type.
  - Shows them all.
intent: [http://example.org/show]
$namespaces: {ex: http://example.org/, s: http://schema.org/}
$schemas: [ontology.ttl, http://127.0.0.1:9/unreachable.owl]
s:author: Somebody
requirements:
  SchemaDefRequirement: {types: [{$import: types.yml}]}
  InlineJavascriptRequirement: {expressionLib: [{$include: lib.js}]}
  SubworkflowFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
hints:
  ex:Unknown: {anything: at all}
inputs:
  zero: {type: "null", label: Nothing}
  a_boolean: boolean
  an_int: {type: int, label: A number, doc: [First line, second line]}
  a_long: long
  a_float: float
  a_double: {type: double, default: 0.5}
  a_string: string?
  a_file: {type: File, format: ex:text}
  a_directory: Directory
  an_archive: Directory
  something: Any
  an_enum: {type: {type: enum, symbols: [one, two]}, default: one}
  a_colour: types.yml#Colour
  a_record:
    type:
      type: record
      name: Pair
      fields: {first: int, second: "string[]?"}
  samples: types.yml#Sample[]
  a_union: [int, string, "File[]", types.yml#Colour]
  a_matrix: {type: {type: array, items: {type: array, items: [int, "null"]}}}
  with_index:
    type: File?
    secondaryFiles: [.idx, "^.alt?", $(self.basename).expr?]
  own_file:
    type: File
    secondaryFiles: [.idx, .gone?]
    default: {class: File, location: data/own.txt}
  own_directory: {type: Directory, default: {class: Directory, location: data}}
outputs:
  shown: {type: string, outputSource: show/shown}
  lines: {type: int, outputSource: count/count, label: Lines, doc: How many}
steps:
  show:
    run: tools/show.cwl
    label: Show it
    doc: Shows everything.
    in:
      count: count/count
      values:
        source: [a_boolean, an_int, a_long, a_float, a_double, a_string, an_enum, a_colour, a_record, a_matrix, something]
      files: {source: [a_file, own_file, samples, a_directory, an_archive, a_union]}
      ready: inner/done
    out: [shown]
  inner:
    run:
      class: Workflow
      inputs: {x: int}
      outputs: {done: {type: int, outputSource: only/count}}
      steps:
        only: {run: "tools/graph.cwl#pass", in: {given: x}, out: [count]}
    in: {x: count/count}
    out: [done]
  count:
    run: tools/graph.cwl#count
    in: {file: a_file}
    out: [count]
