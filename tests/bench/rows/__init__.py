"""The rows: one module each, whose name is the row's and whose `measure` takes a Workbench and answers a Row."""
