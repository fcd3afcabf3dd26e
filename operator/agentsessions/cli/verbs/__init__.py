"""One module for each verb, or for verbs that are alike. Nothing imports these but `main.load`."""
