cwlVersion: v1.2
class: Workflow

label: Slow count
doc: |
  Counts seconds, one line in the log for each, then says how punctual the machine was.

  Good for trying how to follow an execution and how to cancel it.

inputs:
  seconds:
    type: int
    default: 30
    label: Seconds
    doc: How far to count.

steps:
  count:
    label: Count
    doc: Counts once a second and notes the time.
    run: count.cwl
    in:
      seconds: seconds
    out: [ticks]
  assess:
    label: Assess
    doc: Compares the times with what they should be.
    run: assess.cwl
    in:
      ticks: count/ticks
    out: [mean_delay, worst_delay]

outputs:
  ticks:
    type: File
    outputSource: count/ticks
    label: Ticks
    doc: CSV with each count and the seconds since the start.
  mean_delay:
    type: double
    outputSource: assess/mean_delay
    label: Mean delay
    doc: By how many seconds a count was late on average.
  worst_delay:
    type: double
    outputSource: assess/worst_delay
    label: Worst delay
    doc: By how many seconds the latest count was late.
