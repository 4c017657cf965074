cwlVersion: v1.2
class: Workflow

label: Failing half-way
doc: |
  Sums up temperatures measured at several stations, and refuses records that can't be right.

  One of its default records is wrong, so the second step fails and says which line is wrong and why, and the third step
  never runs. With correct records it succeeds.

inputs:
  records:
    type: File
    default:
      class: File
      location: measurements.csv
    label: Records
    doc: CSV with the columns station, day, and temperature in °C; separated by commas or semicolons.

steps:
  normalise:
    label: Normalise
    doc: Writes the records with commas and without blanks, line for line.
    run: normalise.cwl
    in:
      records: records
    out: [normalised]
  check:
    label: Check
    doc: Refuses records that can't be right.
    run: check.cwl
    in:
      records: normalise/normalised
    out: [checked]
  summarise:
    label: Summarise
    doc: Computes the mean of each station.
    run: summarise.cwl
    in:
      records: check/checked
    out: [means]

outputs:
  normalised:
    type: File
    outputSource: normalise/normalised
    label: Normalised records
    doc: The records, separated by commas.
  means:
    type: File
    outputSource: summarise/means
    label: Means
    doc: CSV with the mean temperature of each station.
