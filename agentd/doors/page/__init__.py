"""The page at `/`, for people: JavaScript modules and one style sheet, served as they are.

The page has no way of its own to the data: it uses `/api`, as every program does.

    door  serves its files
"""
