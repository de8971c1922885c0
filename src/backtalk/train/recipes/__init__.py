"""The recipes: a script and a YAML file for each model that is trained here."""
