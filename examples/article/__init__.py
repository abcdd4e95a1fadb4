"""The article's app: log in, see your profile, log out, and see what a cookie gives away."""
