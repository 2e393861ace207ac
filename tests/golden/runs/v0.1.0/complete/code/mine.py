# a user's file
