"""What is hashed and what a share is worth, pure: template, job, share, extranonce."""
