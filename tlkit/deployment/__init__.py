"""After training: predict, evaluate, export, serve, and describe a model that lies in the folder of a run."""
