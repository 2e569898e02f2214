"""The Prop Room: a small server-rendered shop for people's first workflows to drive. Nothing of it is real."""
