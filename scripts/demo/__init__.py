"""The main job, shown: a real control plane, our webhook, the weather agent in three ways, and its Envoys while they run."""
