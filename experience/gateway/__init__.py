"""What Runtime owns, as people and programs meet it: authorise, forward, answer."""
